-- What is pushed to the people of a large room, or to everyone: a row for the conversation, and how far its pass over them has come. And which rooms people have left.
CREATE TABLE IF NOT EXISTS `push_passes` (
	`conversation` varchar(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`first_seq` bigint unsigned NOT NULL,
	`seq` bigint unsigned NOT NULL,
	`newest_at` bigint unsigned NOT NULL,
	`pass_seq` bigint unsigned NOT NULL DEFAULT 0,
	`after_user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
	`fence` bigint unsigned NOT NULL DEFAULT 0,
	`due_at` datetime(3),
	CONSTRAINT `push_passes_pk` PRIMARY KEY(`conversation`),
	KEY `push_passes_due_at` (`due_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `left_rooms` (
	`user` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`conversation` varchar(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`left_at` datetime(3) NOT NULL,
	CONSTRAINT `left_rooms_pk` PRIMARY KEY(`user`,`conversation`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
