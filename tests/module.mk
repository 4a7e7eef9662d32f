# layer check, end-to-end, fuzz corpora
