"""Parts that several pages share.

parameter_form.py                  the form for the parameters of a lens
suggestions.py                     text fields with suggestions: layers, units, classes
buttons.py download_buttons.py     buttons
thumbnails.py                      thumbnails and previews of images
written_fields.py                  the fields of texts, of rows of a table, and of several inputs
line_plot.py                       small line plots
model_caveats.py                   warnings that apply to everything shown of a network
link_checks.py                     errors in links
outdated.py                        marks what belongs to an earlier choice
"""
