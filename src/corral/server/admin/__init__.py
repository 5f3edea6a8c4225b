"""What operators ask a server: four-letter words, the admin server, metrics."""
