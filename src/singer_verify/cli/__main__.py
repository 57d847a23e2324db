"""`python -m singer_verify.cli`, where the console command is not installed."""

from singer_verify.cli import main

main()
