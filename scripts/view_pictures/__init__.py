"""Pictures whose camera is known, to train and test the estimate of field of view, pitch and roll.

| module | concept |
| --- | --- |
| `views` | a picture with its camera; the cameras that are drawn |
| `panoramas` | perspective views of equirectangular panoramas |
| `pinholes` | other views of a picture whose K is known: turned and zoomed, exactly |
| `photometric` | what cameras and the web do to colours, sharpness and compression |
| `real` | real pictures with K, for measuring only |
| `evaluation` | errors beside those of the assumed focal length |
"""
