"""The workbench: a local web page for exploring a network, and the HTTP API behind it.

It computes nothing itself: all results come from lenses of the catalogue, so a new lens appears without a change here.

    url_state.py      the state in a link: model, image, lens, target, layer, unit, parameters
    assets.py         the models and images that the server offers, and uploads
    jobs/             background work: jobs, queues, workers, cached results
    run_request.py    how a view becomes a value
    schema.py         a lens's declaration as JSON schema
    services.py       what pages and API share: library and jobs
    api/              /api/v1
    security.py       access control: token, host, origin, size
    app.py            the application and the server
    not_found.py      the page for unknown addresses
    page_registry.py  the list of pages
    page_context.py   what a page is built with: language, theme, services, browser tab
    page_layout.py    what all pages share: navigation, language, theme
    i18n/             every text in English and Chinese
    export.py         downloads: picture, numbers, manifest, report
    link_checks.py lens_page.py       errors in links; which page shows a lens
    forms.py suggestions.py buttons.py downloads.py     fields and buttons
    pictures.py curves.py graph.py    thumbnails, line plots, the graph of a network
    answer_cards/ inside/ drawings/ comparison/    parts of Look, Inside, Learned and Compare
    panels/           how each kind of value is shown, one kind in each file
    pages/            the pages, one in each file
"""
