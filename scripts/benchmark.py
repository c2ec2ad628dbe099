"""`datagen benchmark`, as the guide calls it."""

import sys

from datagen.cli import main

main(["benchmark", *sys.argv[1:]])
