"""HTTP, websocket and the page, over the same runtime as the command line (extra `[serve]`).

settings     what an operator may set                limits    who may come in, and how much
workspace    the folder on disk: uploads, leases     metrics   Prometheus, written out here
uploads      multipart -> a bounded temporary file   reference the OpenAPI document as a page
batching     pieces of many requests, one graph run  page      the page at /
ears         the models, and how a file is heard     server    uvicorn, with deadlines
transcriptions live jobs    the routes               app       all of it put together
"""
