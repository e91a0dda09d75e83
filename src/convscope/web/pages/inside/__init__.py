"""The page Inside: the graph of the network, the column of a layer, and the column of one of its units.

page.py            the page: the choice of model and image, the graph, and the two columns
selection.py       the selected model, image, layer and unit, which all parts share
network_graph.py   the graph as SVG, with modules folded or unfolded
layer_column.py    a layer: its facts, feature maps, kernels and the distribution of its activations
attention_tab.py   attention of all layers and heads, from or to the patch under the pointer
evidence_tab.py    the map of one lens at the layers that lead to the answer, with a slider
paging.py          a long list of tiles in pages
unit_column.py     a unit: its map, arithmetic, kernel, strongest inputs and optimized picture
unit_map.py        the map of a unit over the image, where a position can be picked
unit_drawing.py    the picture that is optimized for a unit
widgets.py         small parts: pictures, colour bars, histograms, errors
"""
