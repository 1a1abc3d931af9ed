# Runs inside trytond-console: fills the template database and prints a REST key.
Party = pool.get("party.party")
Party.create([{"name": "ACME GmbH"}, {"name": "Beta BV"}, {"name": "Gamma SA"}])

User = pool.get("res.user")
(admin,) = User.search([("login", "=", "admin")])
Application = pool.get("res.user.application")
(rest,) = Application.create([{"user": admin.id, "application": "rest"}])

transaction.commit()
print(rest.key)
