"""The leaderboard of a sweep: tables, a figure, a page."""
