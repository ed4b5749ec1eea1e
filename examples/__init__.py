"""Programs that show the server at work; the tests run them too."""
