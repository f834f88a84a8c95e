"""The words of a small world of databases: what tables and columns are called in SQL, in English and in Korean.

    salary    연봉    salary, wage, pay          a question says "salary" or 연봉; a database has one of the three

Which spelling a database has, only its DDL says. So a model that does not read the DDL has to guess.
Book: 6.1.3 합성 데이터 활용.
"""

from __future__ import annotations

from typing import NamedTuple


class Text(NamedTuple):
    """A column of texts."""

    english: str
    korean: str
    spellings: tuple[str, ...]
    english_values: tuple[str, ...]
    korean_values: tuple[str, ...]
    asks: str = "무엇인가요"  # how a Korean question asks for it


class Number(NamedTuple):
    """A column of whole numbers; more, less: comparatives in Korean; over, under, most, least: in English."""

    english: str
    korean: str
    spellings: tuple[str, ...]
    low: int
    high: int
    more: str
    less: str
    sums: bool = False  # whether their total means something
    over: str = "above"
    under: str = "below"
    most: str = "highest"
    least: str = "lowest"
    step: int = 1  # all values are multiples of it
    unit: str = ""  # what Korean says behind its numbers: 2014년
    asks: str = "얼마인가요"

    @property
    def year(self) -> bool:
        """Whether it is a year: no average of years is asked for, and Korean never says the number alone."""
        return self.unit == "년"


class Table(NamedTuple):
    """What the rows of a table are; parents: the tables that it may refer to."""

    english: str
    korean: str
    counter: str  # 한 명, 한 개: the Korean word that counts them
    spellings: tuple[str, ...]
    columns: tuple[str, ...]
    parents: tuple[str, ...] = ()
    one: str = ""  # the singular, for a table that others refer to


_PEOPLE = ("Minjun", "Seoyeon", "Emma", "Liam", "Noah", "Mia", "Yuna", "Jiho", "Paul", "Anna", "Hugo", "Lena")
_KOREAN_PEOPLE = (
    "민준", "서연", "지호", "유나", "하은", "도윤", "수아", "준서", "예린", "태오", "지안", "현우",
)  # fmt: skip
_TITLES = (
    "Dawn",
    "River",
    "Harbor",
    "Winter",
    "Mirror",
    "Garden",
    "Stone",
    "Echo",
    "Lantern",
    "Voyage",
    "Orchard",
    "Comet",
)
_KOREAN_TITLES = (
    "새벽", "강물", "항구", "겨울", "거울", "정원", "바위", "메아리", "등불", "항해", "과수원", "혜성",
)  # fmt: skip

_BRANDS = (
    "Nova",
    "Orion",
    "Vega",
    "Lumen",
    "Atlas",
    "Delta",
    "Terra",
    "Polar",
    "Sigma",
    "Aria",
    "Onyx",
    "Zenith",
)
_KOREAN_BRANDS = (
    "한빛", "누리", "가온", "라온", "다온", "마루", "아라", "새롬", "온새", "미르", "슬기", "보람",
)  # fmt: skip

COLUMNS: dict[str, Text | Number] = {
    "name": Text("name", "이름", ("name", "full_name", "label"), _PEOPLE, _KOREAN_PEOPLE),
    "brand": Text("name", "이름", ("name", "full_name", "label"), _BRANDS, _KOREAN_BRANDS),
    "title": Text("title", "제목", ("title", "heading", "caption"), _TITLES, _KOREAN_TITLES),
    "city": Text(
        "city", "도시", ("city", "town", "location"),
        ("Seoul", "Busan", "Paris", "London", "Berlin", "Tokyo", "Oslo", "Daegu"),
        ("서울", "부산", "파리", "런던", "베를린", "도쿄", "오슬로", "대구"), "어디인가요",
    ),
    "country": Text(
        "country", "국가", ("country", "nation", "homeland"),
        ("Korea", "France", "Japan", "Germany", "Norway", "Brazil", "Canada", "India"),
        ("한국", "프랑스", "일본", "독일", "노르웨이", "브라질", "캐나다", "인도"), "어디인가요",
    ),
    "department": Text(
        "department", "부서", ("department", "division", "team"),
        ("Sales", "Design", "Legal", "Support", "Research", "Finance"),
        ("영업", "디자인", "법무", "지원", "연구", "재무"), "어디인가요",
    ),
    "major": Text(
        "major", "전공", ("major", "subject", "field"),
        ("Physics", "History", "Music", "Law", "Biology", "Art"), ("물리", "역사", "음악", "법학", "생물", "미술"),
    ),
    "genre": Text(
        "genre", "장르", ("genre", "style", "category"),
        ("Drama", "Comedy", "Crime", "Fantasy", "Romance", "Horror"),
        ("드라마", "코미디", "범죄", "판타지", "로맨스", "공포"),
    ),
    "color": Text(
        "color", "색상", ("color", "hue", "shade"),
        ("red", "blue", "green", "black", "white", "gray"), ("빨강", "파랑", "초록", "검정", "하양", "회색"),
    ),
    "age": Number(
        "age", "나이", ("age", "years", "age_years"), 18, 70, "많은", "적은", unit="세", asks="몇 살인가요",
    ),
    "salary": Number("salary", "연봉", ("salary", "wage", "pay"), 2000, 9900, "높은", "낮은", True, step=100),
    "score": Number(
        "score", "점수", ("score", "points", "marks"), 10, 99, "높은", "낮은", unit="점", asks="몇 점인가요",
    ),
    "price": Number("price", "가격", ("price", "cost", "amount"), 10, 990, "높은", "낮은", True),
    "stock": Number(
        "stock", "재고", ("stock", "quantity", "units"), 10, 500, "많은", "적은", True, unit="개", asks="몇 개인가요",
    ),
    "pages": Number(
        "page count", "쪽수", ("pages", "page_count", "n_pages"), 80, 900, "많은", "적은", True, unit="쪽",
        asks="몇 쪽인가요",
    ),
    "rating": Number(
        "rating", "평점", ("rating", "stars", "review"), 10, 99, "높은", "낮은", unit="점", asks="몇 점인가요",
    ),
    "rooms": Number(
        "room count", "객실 수", ("rooms", "room_count", "n_rooms"), 10, 400, "많은", "적은", True, unit="개",
        asks="몇 개인가요",
    ),
    "speed": Number("speed", "속도", ("speed", "velocity", "top_speed"), 90, 300, "빠른", "느린"),
    "year": Number(
        "year", "연도", ("year", "release_year", "made_in"), 1970, 2025, "늦은", "이른", False,
        "after", "before", "latest", "earliest", unit="년", asks="언제인가요",
    ),
    "founded": Number(
        "founding year", "설립 연도", ("founded", "founding_year", "since"), 1900, 2020, "늦은", "이른", False,
        "after", "before", "latest", "earliest", unit="년", asks="언제인가요",
    ),
}  # fmt: skip
TABLES: dict[str, Table] = {
    "employee": Table(
        "employees", "직원", "명", ("employees", "staff", "workers"),
        ("name", "city", "department", "age", "salary"), ("company",),
    ),
    "student": Table(
        "students", "학생", "명", ("students", "pupils", "learners"),
        ("name", "city", "major", "age", "score"), ("school",),
    ),
    "product": Table(
        "products", "제품", "개", ("products", "items", "goods"),
        ("brand", "color", "price", "stock", "rating"), ("company", "shop"),
    ),
    "book": Table(
        "books", "책", "권", ("books", "volumes", "library"),
        ("title", "genre", "year", "price", "pages"), ("publisher", "shop"),
    ),
    "movie": Table(
        "movies", "영화", "편", ("movies", "films", "cinema"),
        ("title", "country", "genre", "year", "rating"), ("studio",),
    ),
    "car": Table(
        "cars", "자동차", "대", ("cars", "vehicles", "autos"),
        ("brand", "color", "year", "price", "speed"), ("company", "shop"),
    ),
    "hotel": Table(
        "hotels", "호텔", "곳", ("hotels", "inns", "lodgings"),
        ("brand", "city", "price", "rating", "rooms"), ("company",),
    ),
    "company": Table(
        "companies", "회사", "곳", ("companies", "firms", "makers"),
        ("brand", "city", "country", "founded"), (), "company",
    ),
    "school": Table(
        "schools", "학교", "곳", ("schools", "colleges", "campuses"),
        ("brand", "city", "country", "founded"), (), "school",
    ),
    "shop": Table(
        "shops", "가게", "곳", ("shops", "stores", "markets"),
        ("brand", "city", "rating", "founded"), (), "shop",
    ),
    "publisher": Table(
        "publishers", "출판사", "곳", ("publishers", "presses", "imprints"),
        ("brand", "city", "country", "founded"), (), "publisher",
    ),
    "studio": Table(
        "studios", "제작사", "곳", ("studios", "producers", "filmmakers"),
        ("brand", "city", "country", "founded"), (), "studio",
    ),
}  # fmt: skip
NAMES = ("name", "brand", "title")  # each row has another
MAIN = tuple(name for name, table in TABLES.items() if table.parents)  # what questions are about
