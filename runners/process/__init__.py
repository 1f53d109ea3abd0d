"""Worker processes: started, limited, watched."""
