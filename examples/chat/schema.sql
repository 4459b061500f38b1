pragma journal_mode = wal; -- readers see what is committed while somebody writes

create table if not exists entries (
  id integer primary key autoincrement,
  room text not null,
  kind text not null check (kind in ('joined', 'said', 'left')),
  who text not null,
  text text not null,
  -- The page's own name for what was said: a page that does not know whether it arrived says it again, and it is kept once
  key text unique,
  at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ'))
) strict;

create index if not exists entries_by_room on entries (room, id);
