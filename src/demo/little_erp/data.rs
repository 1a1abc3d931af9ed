//! The little ERP's customers, orders and stock: the same at every start.

use serde::{Deserialize, Serialize};

/// The number of the first order that a client posts.
pub(super) const FIRST_POSTED_ORDER: u32 = FIRST_ORDER + ORDER_COUNT;

const FIRST_ORDER: u32 = 1001;
const ORDER_COUNT: u32 = 40;

#[derive(Debug, Clone, Serialize)]
pub(super) struct Customer {
    pub(super) id: u32,
    name: &'static str,
    city: &'static str,
    country: &'static str,
    credit_limit: u32,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct StockItem {
    pub(super) sku: &'static str,
    description: &'static str,
    quantity: u32,
    /// In hundredths.
    unit_price: u32,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Order {
    pub(super) id: u32,
    customer: u32,
    status: &'static str,
    lines: Vec<OrderLine>,
    /// In hundredths.
    total: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OrderLine {
    sku: String,
    quantity: u32,
}

/// What a client posts to make an order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrder {
    customer: u32,
    lines: Vec<OrderLine>,
}

impl NewOrder {
    /// What is wrong with it, if anything.
    pub(super) fn fault(&self) -> Option<&'static str> {
        if !customers().iter().any(|customer| customer.id == self.customer) {
            return Some("unknown customer");
        }
        if self.lines.is_empty() {
            return Some("an order needs a line");
        }
        let known = |line: &OrderLine| STOCK.iter().any(|(sku, ..)| *sku == line.sku);
        if !self.lines.iter().all(known) {
            return Some("unknown stock item");
        }
        None
    }

    pub(super) fn into_order(self, id: u32) -> Order {
        let total = total(&self.lines);
        Order { id, customer: self.customer, status: "draft", lines: self.lines, total }
    }
}

pub(super) fn customers() -> Vec<Customer> {
    let numbered = (1_u32..).zip(CUSTOMERS);
    numbered
        .map(|(id, (name, city, country))| Customer { id, name, city, country, credit_limit: 5_000 + id * 1_250 })
        .collect()
}

pub(super) fn orders() -> Vec<Order> {
    (0..ORDER_COUNT).map(first_day_order).collect()
}

pub(super) fn stock() -> Vec<StockItem> {
    let items = STOCK.iter();
    items
        .map(|&(sku, description, quantity, unit_price)| StockItem { sku, description, quantity, unit_price })
        .collect()
}

/// The multipliers share no factor with the lengths of the lists, so every customer and item appears.
fn first_day_order(number: u32) -> Order {
    let line = |step: u32| {
        let place = (number * 7 + step * 4) % 15;
        let item = STOCK.iter().zip(0_u32..).find(|(_, at)| *at == place);
        item.map(|((sku, ..), _)| OrderLine { sku: (*sku).to_owned(), quantity: 1 + (number + step * 3) % 9 })
    };
    let lines: Vec<OrderLine> = (0..=number % 3).filter_map(line).collect();
    let status = match number % 4 {
        0 => "draft",
        1 => "confirmed",
        2 => "shipped",
        _ => "invoiced",
    };
    let total = total(&lines);
    Order { id: FIRST_ORDER + number, customer: 1 + (number * 3) % 20, status, lines, total }
}

fn total(lines: &[OrderLine]) -> u64 {
    let price = |line: &OrderLine| {
        let unit = STOCK.iter().find(|(sku, ..)| *sku == line.sku).map_or(0, |(.., unit_price)| *unit_price);
        u64::from(unit) * u64::from(line.quantity)
    };
    lines.iter().map(price).sum()
}

const CUSTOMERS: [(&str, &str, &str); 20] = [
    ("Indus Textiles", "Karachi", "PK"),
    ("Northwind Bearings", "Leeds", "GB"),
    ("Adler Werkzeuge", "Stuttgart", "DE"),
    ("Lahore Paper Mills", "Lahore", "PK"),
    ("Kestrel Marine", "Aberdeen", "GB"),
    ("Fjord Seafood", "Bergen", "NO"),
    ("Atelier Moreau", "Lyon", "FR"),
    ("Sunrise Ceramics", "Gujrat", "PK"),
    ("Officine Bellini", "Bologna", "IT"),
    ("Van Dijk Logistics", "Rotterdam", "NL"),
    ("Sialkot Sports Goods", "Sialkot", "PK"),
    ("Blue Mesa Outfitters", "Denver", "US"),
    ("Tallinn Timber", "Tallinn", "EE"),
    ("Al Noor Pharmacy", "Dubai", "AE"),
    ("Porto Cork Company", "Porto", "PT"),
    ("Hokkaido Dairy", "Sapporo", "JP"),
    ("Maple Ridge Farms", "Guelph", "CA"),
    ("Cape Agulhas Wines", "Cape Town", "ZA"),
    ("Quetta Dry Fruits", "Quetta", "PK"),
    ("Zürcher Feinmechanik", "Zürich", "CH"),
];

const STOCK: [(&str, &str, u32, u32); 15] = [
    ("BRG-6204", "Ball bearing 6204", 840, 475),
    ("BRG-6305", "Ball bearing 6305", 310, 920),
    ("BLT-M08", "Hex bolt M8 x 40", 12_500, 18),
    ("BLT-M12", "Hex bolt M12 x 60", 6_200, 41),
    ("NUT-M08", "Hex nut M8", 15_000, 7),
    ("PMP-C050", "Centrifugal pump 0.5 kW", 24, 18_900),
    ("PMP-C150", "Centrifugal pump 1.5 kW", 11, 34_500),
    ("VLV-B025", "Ball valve DN25", 160, 2_350),
    ("VLV-G050", "Gate valve DN50", 75, 5_890),
    ("SEA-EP10", "Door seal EPDM 10 m", 430, 1_190),
    ("CBL-3G15", "Cable 3G1.5, 100 m", 58, 7_450),
    ("FLT-OIL1", "Oil filter", 690, 860),
    ("MTR-AC11", "Motor 1.1 kW", 19, 22_700),
    ("GRS-LI04", "Lithium grease 400 g", 1_020, 390),
    ("BOX-C300", "Carton 300 x 200 x 150", 8_400, 62),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_has_the_promised_size_and_every_order_is_complete() {
        assert_eq!((customers().len(), orders().len(), stock().len()), (20, 40, 15));
        assert!(orders().iter().all(|order| !order.lines.is_empty() && order.total > 0));
    }
}
