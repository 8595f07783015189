"""SynFocal: synthetic people with exact metric truth: bodies, clothes, rooms, light and cameras to pictures."""
