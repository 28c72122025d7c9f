//! Plain counters of one worker, written by it alone, read at scrape.
