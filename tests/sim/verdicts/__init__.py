"""Asked at the end: is each guest well and each order done, or is somebody told why not?"""
