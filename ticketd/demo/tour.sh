# --- 0. where the server is, who calls, and two small helpers
URL=@URL@; KEY=@KEY@; DEVICE=laptop-$RANDOM$RANDOM
api() { curl -sS -H "X-API-Key: $KEY" -H "X-Device-ID: $DEVICE" -H "Content-Type: application/json" "$@"; }
get() { python3 -c 'import json,sys; v=json.load(sys.stdin); [v:=v[int(k) if k.isdigit() else k] for k in sys.argv[1].split(".")]; print(v)' "$1"; }
show() { python3 -m json.tool | sed -E "s/(: [0-9]+[.][0-9])(,?)$/\10\2/"; }

# --- 1. a buyer: your server vouches for them and gets a user token
ME=$(python3 -c 'import uuid; print(uuid.uuid4())')
USER_TOKEN=$(api "$URL/v1/sessions" -d '{"user_id": "'$ME'"}' | get token)

# --- 2. find an event
api "$URL/v1/events/search?query=lantern" | show
EVENT=$(api "$URL/v1/events/search?query=lantern" | get events.0.event_id)

# --- 3. join the waiting room, and ask until it is your turn: then there is an access token
QUEUE_TOKEN=$(api "$URL/v1/queue/join" -H "Authorization: Bearer $USER_TOKEN" -d '{"event_id": "'$EVENT'", "user_id": "'$ME'", "device_fingerprint": "'$DEVICE'"}' | get queue_token)
api "$URL/v1/queue/status?queue_token=$QUEUE_TOKEN" | show
ACCESS_TOKEN=$(api "$URL/v1/queue/status?queue_token=$QUEUE_TOKEN" | get access_token)
buy() { api -H "Authorization: Bearer $ACCESS_TOKEN" "$@"; }

# --- 4. look at the seats, and take the first three that are free on the floor
api "$URL/v1/events/$EVENT/seats" | cut -c 1-600
SEATS=$(api "$URL/v1/events/$EVENT/seats" | python3 -c 'import json,sys; print(json.dumps([s["seat_id"] for r in json.load(sys.stdin)["sections"][0]["rows"] for s in r["seats"] if s["status"] == "AVAILABLE"][:3]))')
HELD=$(buy "$URL/v1/seats/reserve" -d '{"event_id": "'$EVENT'", "seat_ids": '"$SEATS"', "user_id": "'$ME'"}'); echo "$HELD" | show
RESERVATION=$(echo "$HELD" | get reservation_id)

# --- 5. add a card (no real one: the sandbox gateway moves no money) and pay
CARD=$(buy "$URL/v1/payment-methods" -d '{"type": "CARD", "card_token": "tok_visa_4242"}' | get payment_method_id)
ADDRESS='{"street": "123 Main St", "city": "New York", "state": "NY", "postal_code": "10001", "country": "US"}'
PLACED=$(buy "$URL/v1/orders" -H "Idempotency-Key: pay-$RESERVATION" -d '{"reservation_id": "'$RESERVATION'", "payment_method_id": "'$CARD'", "billing_address": '"$ADDRESS"', "delivery_method": "MOBILE"}'); echo "$PLACED" | show
ORDER=$(echo "$PLACED" | get order_id)

# --- 6. the money is taken in the background; then the order is CONFIRMED and has its tickets
while [ "$(buy "$URL/v1/orders/$ORDER" | get status)" = PENDING ]; do sleep 0.2; done
buy "$URL/v1/orders/$ORDER" | cut -c 1-1200

# --- 7. the tickets: a QR code and a PDF
TICKETS=$(buy "$URL/v1/tickets?order_id=$ORDER")
TICKET=$(echo "$TICKETS" | get tickets.0.ticket_id)
echo "$TICKETS" | get tickets.0.qr_code | base64 -d > ticket.png
curl -sS -o ticket.pdf "$(echo "$TICKETS" | get tickets.0.download_url)"; ls -l ticket.png ticket.pdf

# --- 8. offer one to a friend: the mail with the claim link is a file in @OUTBOX@
buy "$URL/v1/tickets/$TICKET/transfer" -d '{"recipient_email": "friend@example.com", "recipient_name": "John Doe"}' | show

# --- 9. buy once more, two seats side by side wherever they are best, and cancel: the seats go back, the money too
QUEUE_TOKEN=$(api "$URL/v1/queue/join" -H "Authorization: Bearer $USER_TOKEN" -d '{"event_id": "'$EVENT'", "user_id": "'$ME'", "device_fingerprint": "'$DEVICE'"}' | get queue_token)
ACCESS_TOKEN=$(api "$URL/v1/queue/status?queue_token=$QUEUE_TOKEN" | get access_token)
RESERVATION=$(buy "$URL/v1/seats/reserve" -d '{"event_id": "'$EVENT'", "quantity": 2, "user_id": "'$ME'"}' | get reservation_id)
SECOND=$(buy "$URL/v1/orders" -d '{"reservation_id": "'$RESERVATION'", "payment_method_id": "'$CARD'", "billing_address": '"$ADDRESS"'}' | get order_id)
while [ "$(buy "$URL/v1/orders/$SECOND" | get status)" = PENDING ]; do sleep 0.2; done
buy -X POST "$URL/v1/orders/$SECOND/cancel" | show
