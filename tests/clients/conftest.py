"""What only another environment's Python can import is no test module of ours."""

collect_ignore = ["datacube_session.py", "qgis_session.py"]
