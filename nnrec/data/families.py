"""The families of data: ratings, sessions, impressions."""

from __future__ import annotations

# What an epoch goes through, and what is ranked, by the family of the data.
WORDS = {"ratings": ("rows", "users"), "sessions": ("events", "sessions"), "impressions": ("rows", "rows")}

# What to choose, by the family of the data.
EVALUATIONS = {"ratings": "default", "sessions": "next_item", "impressions": "ctr"}

SPLITS = {
    "ratings": "random, ...",
    "sessions": "last_sessions, last_days or given_sessions",
    "impressions": "usual_rows, random_rows, last_rows or given_rows",
}

DATA = {"ratings": "ml-1m", "sessions": "simulated_clicks, data=yoochoose1_64", "impressions": "simulated_impressions"}
