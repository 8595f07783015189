"""A web page on this machine: drop a photo, see its people, their statures and distances, the scene in 3D.

``form`` is what the user says, ``service`` does a photo, ``answer`` tells the result in plain words, ``workspace``
holds files and lets go of them. These four know nothing of Gradio. ``page`` draws the page with it, ``guard`` stands
before it, ``serve`` starts and stops all. See docs/app.md.
"""
