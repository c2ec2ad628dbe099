"""``python -m datagen``: the ``datagen`` command."""

from .cli import main

main()
