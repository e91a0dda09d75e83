"""The workbench: a local web page for exploring a network, and the HTTP API behind it.

It computes nothing itself: all results come from lenses of the catalogue, so a new lens appears without a change here.

    server/       the application: access control, pages and API on one server
    api/          /api/v1
    pages/        look/ inside/ learned/ compare/: one page in each folder, with the parts that only it uses
    frame/        what surrounds every page: the list of pages, navigation, language, theme, style sheet
    page_parts/   what several pages share: forms, buttons, downloads, thumbnails, checks of links
    panels/       how each kind of value is shown, one kind in each file
    requests/     from a link or a body to a value: the state in a link, models and images, services, files
    jobs/         background work: jobs, queues, workers, cached results
    i18n/         every text in English and Chinese
"""
