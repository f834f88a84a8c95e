"""The tour through the whole stack: its stages, the run in order, the report as a page, and the doctor's rows."""
