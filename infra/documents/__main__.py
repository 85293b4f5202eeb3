"""Entry point that writes all generated documents: `python -m infra.documents` (`make docs`)."""

from infra.documents import GENERATED, schemas

if __name__ == "__main__":
    schemas.write()
    for path, document in GENERATED.items():
        path.write_text(document())
