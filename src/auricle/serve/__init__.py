"""HTTP, websocket and the page, over the same runtime as the command line (extra `[serve]`).

settings     what an operator may set                limits    who may come in, and how much
workspace    the folder on disk: uploads, leases     metrics   Prometheus, written out here
uploads      multipart -> a bounded temporary file   reference the OpenAPI document as a page
batching     many pieces -> one run                  page      the page at /
sharing      requests meet at the graph and search   server    uvicorn, with deadlines
ears         the models, and how a file is heard     app       all of it put together
labelling    those that answer with labels           forms     what is asked, how it is answered

transcriptions classifications live meter jobroutes    the routes
"""
