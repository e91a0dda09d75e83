"""The page Look.

page.py           the page: the choice of inputs and lenses, and the views that the cards show
input_picker.py   the choice of model and image: thumbnails, uploads, the camera
answer_panel.py   the prediction, and the choice of the class and layer that are explained
target_check.py   whether the network has the requested class, and its score
lens_chooser.py   the choice of lenses, by family
card_gallery.py   the cards of the chosen lenses
card.py           one lens: its picture, its parameters, its downloads
pinned_maps.py    maps that stay on the page for comparison
"""
