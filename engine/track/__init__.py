"""MLflow: replicate runs from their events, and read the store without importing MLflow. No torch."""
