"""From a request to a value: what a link or a body names, and how it is computed.

url_state.py           the state in a link: model, image, lens, target, layer, unit, parameters
models_and_images.py   the models and images that the server offers
uploads.py             uploaded files, kept in memory: pictures and numbers
written_inputs.py      inputs that are written into a key: a text, a row of a table, several inputs by name
target_files.py        targets that name a file, which are refused
upload_checks.py       uploads that would read other files, or unpack without a limit
temporary_files.py     a folder for what must be a file for a moment
run_request.py         how a view becomes a value
services.py            what pages and API share: the models and images, and the jobs
export.py              a value as a file: picture, numbers, manifest, report
"""
