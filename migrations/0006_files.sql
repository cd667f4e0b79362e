-- Uploaded files, and which messages refer to them. The bytes lie in the store for files, under the id.
CREATE TABLE IF NOT EXISTS `files` (
	`id` varchar(22) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`owner` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`name` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	`media_type` varchar(127) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`size` bigint unsigned NOT NULL,
	`sha256` varchar(64) CHARACTER SET ascii COLLATE ascii_bin,
	`width` int unsigned,
	`height` int unsigned,
	`uses` int unsigned NOT NULL DEFAULT 0,
	`created_at` datetime(3) NOT NULL,
	`stored_at` datetime(3),
	`unused_since` datetime(3),
	`deleted_at` datetime(3),
	CONSTRAINT `files_pk` PRIMARY KEY(`id`),
	KEY `files_owner` (`owner`,`size`),
	KEY `files_unused_since` (`unused_since`),
	KEY `files_deleted_at` (`deleted_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `file_uses` (
	`file` varchar(22) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`message` bigint unsigned NOT NULL,
	`conversation` varchar(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`above` bigint unsigned NOT NULL,
	`unproven_since` datetime(3),
	CONSTRAINT `file_uses_pk` PRIMARY KEY(`file`,`message`),
	KEY `file_uses_message` (`message`),
	KEY `file_uses_unproven_since` (`unproven_since`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
