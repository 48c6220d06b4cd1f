"""The words of a recovery mail, as Jinja2 templates; HTML escapes every value."""

from __future__ import annotations

SUBJECT = "{{ shop.name }}: {{ 'your order is almost complete' if stage == 'checkout' else 'your cart is waiting' }}"

TEXT = """\
Hello,

{% if stage == "checkout" -%}
you were about to place an order at {{ shop.name }}.
{%- else -%}
you left something in your cart at {{ shop.name }}.
{%- endif %} It is still there:

{% for line in lines %}- {{ line.quantity }} x {{ line.product_name }}, {{ line.price_cents | money }} each
{%- if line.price_change_cents < 0 %} (now {{ -line.price_change_cents | money }} less than when you added it)
{%- elif line.price_change_cents > 0 %} (was {{ line.original_price_cents | money }} when you added it)
{%- endif %}
{%- if line.in_stock is sameas false %} - out of stock at the moment
{%- endif %}
{% endfor %}
{%- for coupon in coupons if coupon.state != "expired" %}
Your coupon {{ coupon.code }} ({{ coupon | discount }}) is on the cart
{%- if coupon.state == "expiring" %} and ends on {{ coupon.ends_at | clock }}
{%- endif %}.
{% endfor %}
{%- if value_cents is not none %}
Total: {{ value_cents | money }}{% if discount_cents %} after {{ discount_cents | money }} off{% endif %}
{% endif %}
{%- if removed_lines %}
You also looked at: {{ removed_lines | map(attribute="product_name") | join(", ") }}
{% endif %}
Go on here: {{ shop.cart_url }}{{ cart_id }}

You get this because you agreed to mails from {{ shop.name }}. No more of them: {{ shop.unsubscribe_url }}
"""

HTML = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ shop.name }}</title></head>
<body style="font-family:sans-serif;max-width:36em;margin:auto;color:#222">
<p>{% if stage == "checkout" %}You were about to place an order at {{ shop.name }}.
{% else %}You left something in your cart at {{ shop.name }}.{% endif %} It is still there:</p>
<table style="width:100%;border-collapse:collapse">
{% for line in lines %}<tr style="border-bottom:1px solid #ddd">
<td style="padding:.4em">{{ line.quantity }} &times; {{ line.product_name }}
{%- if line.in_stock is sameas false %} <em>out of stock at the moment</em>{% endif %}</td>
<td style="padding:.4em;text-align:right">{{ line.price_cents | money }}
{%- if line.price_change_cents < 0 %} <strong>{{ -line.price_change_cents | money }} less</strong>
{%- elif line.price_change_cents > 0 %} <s>{{ line.original_price_cents | money }}</s>{% endif %}</td></tr>
{% endfor %}</table>
{% for coupon in coupons if coupon.state != "expired" %}<p>Your coupon <b>{{ coupon.code }}</b>
({{ coupon | discount }}) is on the cart{% if coupon.state == "expiring" %} and ends on {{ coupon.ends_at | clock }}
{%- endif %}.</p>
{% endfor -%}
{% if value_cents is not none %}<p>Total: <b>{{ value_cents | money }}</b>
{%- if discount_cents %} after {{ discount_cents | money }} off{% endif %}</p>{% endif %}
{% if removed_lines %}<p>You also looked at:
{{ removed_lines | map(attribute="product_name") | join(", ") }}</p>{% endif %}
<p><a href="{{ shop.cart_url }}{{ cart_id }}">Go on with your cart</a></p>
<p style="font-size:.8em;color:#666">You get this because you agreed to mails from {{ shop.name }}.
<a href="{{ shop.unsubscribe_url }}">No more of them</a></p>
</body></html>
"""
