"""What both programs have in common and neither decides with: settings and the command line."""
