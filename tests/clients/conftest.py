"""What only the system's Python can import is no test module of ours."""

collect_ignore = ["qgis_session.py"]
