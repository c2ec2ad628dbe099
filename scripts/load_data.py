"""`datagen load`, as the guide calls it."""

import sys

from datagen.cli import main

main(["load", *sys.argv[1:]])
