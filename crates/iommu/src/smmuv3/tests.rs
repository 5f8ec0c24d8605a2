mod nesting;
mod paging;
mod world;
