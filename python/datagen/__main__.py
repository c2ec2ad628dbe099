"""``python -m datagen``: the ``datagen`` command."""

from .cli import main_of_process

main_of_process()
