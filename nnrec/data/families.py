"""The families of data: ratings, sessions, impressions."""

from __future__ import annotations

# Data family -> the unit of a training epoch, and the unit for which items are ranked.
WORDS = {"ratings": ("rows", "users"), "sessions": ("events", "sessions"), "impressions": ("rows", "rows")}

# Data family -> the matching configuration choices.
EVALUATIONS = {"ratings": "default", "sessions": "next_item", "impressions": "ctr"}

SPLITS = {
    "ratings": "random, ...",
    "sessions": "last_sessions, last_days or given_sessions",
    "impressions": "usual_rows, random_rows, last_rows or given_rows",
}

DATA = {"ratings": "ml-1m", "sessions": "simulated_clicks, data=yoochoose1_64", "impressions": "simulated_impressions"}
