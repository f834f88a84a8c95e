"""What a lesson's page shows: set-up in one line (session), the library's own source, and figures in one style."""
