"""The parts of the page Look.

input_picker.py   the choice of model and image: thumbnails, uploads, the camera
answer_panel.py   the prediction, and the choice of the class and layer that are explained
target_check.py   whether the network has the requested class, and its score
lens_chooser.py   the choice of lenses, by family
card.py           one lens: its picture, its parameters, its downloads
pinned_maps.py    maps that stay on the page for comparison
"""
