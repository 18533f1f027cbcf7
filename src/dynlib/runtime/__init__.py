"""The state of a session and the driver that moves it forward."""
