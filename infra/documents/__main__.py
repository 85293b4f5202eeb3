"""Entry point that writes all generated documents: `python -m infra.documents` (`make docs`)."""

from infra.documents import REFERENCES, schemas

if __name__ == "__main__":
    schemas.write()
    for path, document in REFERENCES.items():
        path.write_text(document())
