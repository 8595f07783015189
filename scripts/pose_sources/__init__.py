"""Motion capture in other people's formats, brought to Anny's pose."""
