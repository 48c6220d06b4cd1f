"""The pages of the dashboard, a file each: choose rows by the filters, hand them to a chart or a listing."""
