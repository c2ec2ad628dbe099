"""Published numbers that are tables: people by state and age, names, brands, keys, stocks."""

from __future__ import annotations


def _table(text: str) -> dict[str, float]:
    """Pairs of a label and a number."""
    words = text.split()
    return dict(zip(words[::2], map(float, words[1::2]), strict=True))


#: Population by state, percent.
STATES = _table("""
    SP 21.87  MG 10.11  RJ 7.91  BA 6.96  PR 5.64  RS 5.36  PE 4.46  CE 4.33  PA 4.0  SC 3.75
    GO 3.47  MA 3.34  PB 1.96  ES 1.89  MT 1.8  RN 1.63  PI 1.61  AL 1.54  DF 1.39  MS 1.36
    SE 1.09  RO 0.78  TO 0.74  AC 0.41  AP 0.36  RR 0.31  AM 1.94
""")
#: Adults by age in thousands: 18 and 19 (two fifths of the band from 15), then by five years; the last
#: band has everybody from 90 on.
AGES = _table("""
    18–19 5750  20–24 15466  25–29 15469  30–34 15473  35–39 16172  40–44 16072  45–49 13640
    50–54 12598  55–59 11570  60–64 9945  65–69 7876  70–74 5858  75–79 3848  80–84 2475
    85–89 1330  90–94 782
""")
#: Bearers of the commonest given names.
WOMEN = _table("""
    Maria 12224470  Ana 3929951  Francisca 661582  Júlia 646239  Antônia 552951  Juliana 536687
    Adriana 533801  Fernanda 520705  Márcia 520013  Patrícia 499140
""")
MEN = _table("""
    José 5141822  João 3410873  Antônio 2231019  Francisco 1659196  Pedro 1613671
    Carlos 1468116  Lucas 1332182  Paulo 1331639  Luiz 1326222  Gabriel 1201030  Marcos 1082739
    Davi 876593  Rafael 873321  Luís 838237  Daniel 770743  Miguel 715241  Gustavo 680738
    Felipe 676680
""")
#: Bearers of the commonest surnames, in thousands.
SURNAMES = _table("""
    Silva 34030  Santos 21367  Oliveira 11709  Souza 9197  Pereira 6888  Ferreira 6226
    Lima 6095  Alves 5757  Rodrigues 5429  Costa 4861  Sousa 4797  Gomes 4047  Nascimento 3609
    Araújo 3461  Ribeiro 3127  Almeida 3069  Jesus 2859  Barbosa 2738  Soares 2615
    Carvalho 2600  Martins 2577  Lopes 2338  Vieira 2102  Rocha 2044  Dias 2035  Gonçalves 2028
    Fernandes 1836  Santana 1816  Andrade 1707  Batista 1703
""")
BRANDS = {"MASTERCARD": 61.1, "VISA": 32.1, "ELO": 4.3, "HIPERCARD": 2.1, "AMEX": 0.4}
#: Pix keys by kind, of all that are registered.
KEYS = {"EVP": 45.2, "PHONE": 19.3, "CPF": 19.0, "EMAIL": 14.9, "CNPJ": 1.7}
#: Purchases by merchant category code.
CATEGORIES = _table("""
    5411 20  5812 9  5814 9  5541 9  5912 8  4121 7  5499 4  5462 4  5311 4  5651 3  5661 2
    5732 2  5818 4  5816 1  5968 2  4814 2  4900 1  5200 2  5712 1  5977 1  5942 0.5  5995 1
    7230 1  7997 0.7  7523 0.5  8011 0.5  8021 0.3  8062 0.3  8220 0.2  4511 0.4  7011 0.4
    4722 0.2
""")
#: Weights of the stocks in the index, percent.
STOCKS = _table("""
    ITUB4 8.97  BBDC4 3.81  ITSA4 3.37  B3SA3 3.04  BPAC11 2.73  BBAS3 2.35  SANB11 0.39
    BBSE3 1.0  PETR4 7.1  PETR3 4.03  PRIO3 1.78  VBBR3 1.54  UGPA3 1.26  VALE3 11.28
    GGBR4 1.15  SUZB3 1.05  KLBN11 0.58  CSNA3 0.14  AXIA3 4.82  SBSP3 3.54  ENEV3 2.06
    EQTL3 2.04  CPLE3 1.85  CMIG4 0.87  EGIE3 0.49  TAEE11 0.37  WEGE3 2.85  EMBJ3 2.54
    RENT3 1.6  RAIL3 0.69  MOTV3 0.62  ABEV3 2.79  RADL3 0.97  LREN3 0.56  ASAI3 0.48
    MGLU3 0.07  RDOR3 1.59  VIVT3 1.02  TIMS3 0.73  TOTS3 0.64  HYPE3 0.28  CYRE3 0.26
""")
