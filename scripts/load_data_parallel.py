"""`datagen load-parallel`, as the guide calls it."""

import sys

from datagen.cli import main

main(["load-parallel", *sys.argv[1:]])
