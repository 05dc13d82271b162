"""What only the visitors of an app's site have: passports, saved messages and pins."""
