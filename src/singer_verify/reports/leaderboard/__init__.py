"""reports/leaderboard."""
