"""The workbench: a local page on which a person explores a network, and the HTTP API behind it.

It holds no maths. Whatever is shown comes from the catalogue: a lens declared later is there without a change here.

    view.py       what a link carries: model, image, lens, target, layer, unit, parameters
    library.py    what the server may show: models and images given at start, and uploads; nothing else can be named
    jobs/         one queue of long work: jobs, lines, workers, results
    looking.py    the one road from a view to a value
    schema.py     a lens's declaration as JSON schema
    bench.py      what pages and API work with: library and jobs
    api/          /api/v1
    access.py     who may come in: token, host, origin, size
    app.py        all of it put together
    nowhere.py    what is said where there is nothing
    frame.py      what all pages share: navigation, language, theme
    texts/        every text in English and Chinese
    files.py      what can be taken home: picture, numbers, manifest, report
    links.py shown.py             what a link names that is not here; the page that shows what a view asks for
    forms.py suggesting.py buttons.py downloads.py     fields and buttons
    pictures.py curves.py graph.py        thumbnails, plots, the graph that can be clicked
    gallery/ inside/ studio/ beside/      what Look, Inside, Learned and Compare are made of
    panels/       how a kind of value is shown: one kind a file
    pages/        one page a file; the navigation reads them
"""
