"""What a record of gaps is good for: a report for people, and training sets that wait for their labels."""
