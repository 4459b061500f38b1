pragma journal_mode = wal; -- readers see what is committed while somebody writes

create table if not exists items (
  id integer primary key,
  name text not null,
  icon text not null,
  cents integer not null,
  stock integer not null
) strict;

create table if not exists vouchers (code text primary key) strict;

create table if not exists orders (
  id integer primary key,
  item integer not null references items,
  customer text not null,
  -- Deferred: a voucher that does not exist makes the commit fail, not the insert
  voucher text references vouchers deferrable initially deferred,
  placed text not null default (strftime('%Y-%m-%dT%H:%M:%fZ'))
) strict;

insert or ignore into vouchers values ('WELCOME');

insert or ignore into items values
  (1, 'Ship''s biscuits', '🍪', 350, 1000),
  (2, 'Harbour tea', '🫖', 720, 250),
  (3, 'Storm lantern', '🏮', 2900, 40),
  (4, 'Brass telescope', '🔭', 18500, 3);
