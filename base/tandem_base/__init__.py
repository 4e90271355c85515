"""What both programs have and neither decides with: settings, command line, logs, bugs."""
